"""`nettop rules`: tables, chains, rules, sets and objects of one namespace, as JSON Lines or as a tree of text.

The broker and the tools that print the rules take as long as the imports: these are done while they run.
"""

from __future__ import annotations

import argparse
import gc
import sys
from importlib import import_module

from nettop import arguments
from nettop.linux.nf_tables import HOOK_ORDER


def options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `nettop rules`."""
    arguments.add(parser, "--json", "--filter")
    for name, what in (("table", "fw, or 'inet fw'"), ("chain", "forward, or 'inet fw forward'")):
        text = f"only this {name}: {what}; may be given several times"
        parser.add_argument(f"--{name}", action="append", default=[], metavar=name[0].upper(), help=text)
    text = f"only chains at this hook, and those that they jump to: {' '.join(HOOK_ORDER)}"
    parser.add_argument("--hook", action="append", default=[], metavar="H", help=text)
    text = "with the elements of all sets printed, or only this set with its elements"
    parser.add_argument(
        "--elements", action="append", nargs="?", const=arguments.EVERY, default=[], metavar="SET", help=text
    )
    text = "at most N elements of each set (default: all)"
    parser.add_argument("-n", "--number", type=arguments.count, default=sys.maxsize, metavar="N", help=text)
    text = (
        "what differs between two recordings, or a recording and the live namespace of --netns, as a unified diff or "
    )
    text += (
        "JSON rows; FILE may end in @start or @12:03[:04], a moment in it. Ends with 0 also if there are differences"
    )
    parser.add_argument("--diff", nargs="+", default=[], metavar="FILE", help=text)
    text = "what is probably wrong, with its evidence, instead of the rules"
    parser.add_argument("--findings", action="store_true", help=text)
    text = "only the sets that hold this address, network or port (10.0.0.5,443: both), and the rules that use them"
    parser.add_argument("--holds", default="", metavar="ADDRESS", help=text)
    arguments.add(parser, *arguments.LIVE, "-r --read")


def run(options: argparse.Namespace) -> int:
    """Print the ruleset of --netns or of a recording. Return the exit code of the contract."""
    gc.disable()  # one reading, then the end: nothing becomes garbage
    if options.read or options.diff or options.filter or options.holds:  # words of theirs may be wrong
        from nettop.headless import rule_listing

        return rule_listing.run(options)
    from nettop.broker.options import for_app
    from nettop.broker.start import start

    with start(allowed=for_app(read_only=True), while_starting=_import_sources) as broker:
        from nettop.headless.rule_reading import watched

        with watched(broker, options.netns) as (live, plumbing):
            from nettop.headless import rule_listing

            return rule_listing.print_live(options, live, plumbing)


def _import_sources() -> None:
    import_module("nettop.headless.rule_reading")
