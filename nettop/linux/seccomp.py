"""System call filters: linux/seccomp.h, linux/audit.h, linux/bpf_common.h and the numbers of asm/unistd.h."""

from __future__ import annotations

SECCOMP_SET_MODE_FILTER, SECCOMP_GET_ACTION_AVAIL = 1, 2
SECCOMP_FILTER_FLAG_TSYNC = 1
SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO = 0x7FFF_0000, 0x0005_0000
SECCOMP_DATA_NR, SECCOMP_DATA_ARCH, SECCOMP_DATA_ARGS = 0, 4, 16  # offsets in struct seccomp_data

# linux/bpf_common.h: BPF_LD | BPF_W | BPF_ABS and so on
LOAD_WORD, AND_CONSTANT, JUMP_EQUAL, JUMP_GREATER_EQUAL, RETURN = 0x20, 0x54, 0x15, 0x35, 0x06

# linux/audit.h, by platform.machine()
AUDIT_ARCH = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
LAST_CALL = 450  # the highest number of the table's time (Linux 6.4); the numbers of the x32 ABI are above it, too

# Names with their numbers on x86_64 and aarch64 ("-": it does not exist there).
_NUMBERS = """
    accept 43 202, accept4 288 242, acct 163 89, add_key 248 217, adjtimex 159 171, bind 49 200, bpf 321 280,
    chmod 90 -, chown 92 -, chroot 161 51, clock_adjtime 305 266, clock_settime 227 112, clone 56 220, clone3 435 435,
    close_range 436 436, connect 42 203, creat 85 -, delete_module 176 106, execve 59 221, execveat 322 281,
    fanotify_init 300 262, fchmod 91 52, fchmodat 268 53, fchown 93 55, fchownat 260 54, fcntl 72 25,
    finit_module 313 273, flock 73 32, fork 57 -, fremovexattr 199 16, fsconfig 431 431, fsetxattr 190 7,
    fsmount 432 432, fsopen 430 430, fspick 433 433, futimesat 261 -, init_module 175 105, io_setup 206 0,
    io_uring_enter 426 426, io_uring_register 427 427, io_uring_setup 425 425, ioctl 16 29, ioperm 173 -, iopl 172 -,
    ioprio_set 251 30, kcmp 312 272, kexec_file_load 320 294, kexec_load 246 104, keyctl 250 219, kill 62 129,
    lchown 94 -, link 86 -, linkat 265 37, listen 50 201, lookup_dcookie 212 18, lremovexattr 198 15, lsetxattr 189 6,
    migrate_pages 256 238, mkdir 83 -, mkdirat 258 34, mknod 133 -, mknodat 259 33, modify_ldt 154 -, mount 165 40,
    mount_setattr 442 442, move_mount 429 429, move_pages 279 239, mq_open 240 180, mq_unlink 241 181, msgctl 71 187,
    msgget 68 186, msgrcv 70 188, msgsnd 69 189, name_to_handle_at 303 264, open 2 -, open_by_handle_at 304 265,
    open_tree 428 428, openat 257 56, openat2 437 437, perf_event_open 298 241, personality 135 92, pidfd_getfd 438 438,
    pidfd_send_signal 424 424, pivot_root 155 41, prctl 157 167, prlimit64 302 261, process_madvise 440 440,
    process_mrelease 448 448, process_vm_readv 310 270, process_vm_writev 311 271, ptrace 101 117, quotactl 179 60,
    quotactl_fd 443 443, reboot 169 142, removexattr 197 14, rename 82 -, renameat 264 38, renameat2 316 276,
    request_key 249 218, rmdir 84 -, rt_sigqueueinfo 129 138, rt_tgsigqueueinfo 297 240, sched_setaffinity 203 122,
    sched_setattr 314 274, sched_setparam 142 118, sched_setscheduler 144 119, seccomp 317 277, semctl 66 191,
    semget 64 190, semop 65 193, semtimedop 220 192, sendmmsg 307 269, sendmsg 46 211, sendto 44 206,
    setdomainname 171 162, sethostname 170 161, setns 308 268, setpgid 109 154, setpriority 141 140, setsid 112 157,
    setsockopt 54 208, settimeofday 164 170, setxattr 188 5, shmat 30 196, shmctl 31 195, shmdt 67 197, shmget 29 194,
    socket 41 198, socketpair 53 199, swapoff 168 225, swapon 167 224, symlink 88 -, symlinkat 266 36, syslog 103 116,
    tgkill 234 131, tkill 200 130, truncate 76 45, umount2 166 39, unlink 87 -, unlinkat 263 35, unshare 272 97,
    userfaultfd 323 282, utime 132 -, utimensat 280 88, utimes 235 -, vfork 58 -, vhangup 153 58
"""
_ROWS = [row.split() for row in _NUMBERS.split(",")]
NUMBERS: dict[str, dict[str, int]] = {
    machine: {row[0]: int(row[at]) for row in _ROWS if row[at] != "-"}
    for at, machine in enumerate(("x86_64", "aarch64"), start=1)
}
