"""Samples of tracepoints: linux/perf_event.h, linux/mount.h."""

from __future__ import annotations

from struct import Struct

PERF_TYPE_TRACEPOINT = 2
PERF_SAMPLE_TIME, PERF_SAMPLE_RAW = 1 << 2, 1 << 10
# Bits of struct perf_event_attr.
PERF_ATTR_DISABLED, PERF_ATTR_WATERMARK, PERF_ATTR_USE_CLOCKID = 1 << 0, 1 << 14, 1 << 25
PERF_FORMAT_LOST = 1 << 4
PERF_FLAG_FD_CLOEXEC = 8
PERF_EVENT_IOC_ENABLE, PERF_EVENT_IOC_DISABLE = 0x2400, 0x2401
PERF_EVENT_IOC_SET_OUTPUT, PERF_EVENT_IOC_SET_FILTER = 0x2405, 0x4008_2406
PERF_RECORD_SAMPLE = 9

# struct perf_event_attr: type, size, config, sample_period, sample_type, read_format, bits, wakeup, bp_type, clockid
ATTR = Struct("=IIQQQQQII36xi")
RECORD = Struct("=IHH")  # struct perf_event_header: type, misc, size
READ = Struct("=QQ")  # of a descriptor with PERF_FORMAT_LOST (Linux 6.0): events, samples that were lost
SAMPLE = Struct("=8xQI")  # time, size of the raw data after it
PERF_HEAD, PERF_TAIL = 1024, 1032  # offsets of data_head and data_tail in struct perf_event_mmap_page

FSCONFIG_CMD_CREATE, FSOPEN_CLOEXEC, FSMOUNT_CLOEXEC = 6, 1, 1
