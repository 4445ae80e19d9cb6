"""`python -m tests.bench.set_child NETNS ELEMENTS PAGE`: seconds of the slowest page of a set, and of all pages."""

from __future__ import annotations

import json
import sys
import time

from nettop.broker.requests import ReadRequest, SetName
from nettop.broker.start import start
from nettop.decode.nftables.sets import NftSet
from nettop.linux.nfnetlink import NFPROTO_INET
from nettop.pipeline.set_pages import SetPages, kernel_dump


def main(netns: str, count: int, page: int) -> dict[str, float]:
    """The slowest of the pages that make the whole set, and their sum."""
    of = NftSet("inet", "bench", "s", 1, 0, 7, 4, "", None, count, None, False, None)
    with start("root", confine=False) as broker:
        took: list[float] = []
        began, name = time.perf_counter(), SetName(NFPROTO_INET, "bench", "s")
        with kernel_dump(broker, broker.netns(netns), ReadRequest.NFT_SET_ELEMENTS, name) as dump:
            pages, shown = SetPages(dump, of), page
            while dump.more:
                pages.read(shown)
                took.append(time.perf_counter() - began - sum(took))
                shown += page
        return {"page": max(took), "all": sum(took)}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
