"""What was reported before; each extension after a look at the results halves alpha.

The list stands beside the runs, which all studies have in common: another `--name` does not make an
earlier look undone.
"""

from dataclasses import asdict
from datetime import date as calendar
from pathlib import Path
from typing import Any, NamedTuple

from vit.callbacks.run_folder import read_json, write_json
from vit.compare.study import Arm, Study
from vit.digest import digest

FILE = "reports.json"
KINDS = {  # of one report
    "date": str,
    "name": str,
    "seeds": int,
    "draws": int,
    "settings": str,
    "task": str,
    "primary": str,
}
FREE = ("question", "seeds", "label_draws", "margin")  # what an extension may change
LATER = (  # keys that came after the first reports were made, as studies have them by default
    ("weights", None), ("weights_px", 224), ("frozen_only", False), ("image_size", None),
    ("on_request", False),
)  # fmt: skip
TASK = ("transfer", "finetune", "primary", "folds")  # what makes two studies ask the same thing


class EarlierReports(NamedTuple):
    """Earlier looks at the results of one study.

    Args:
        extended: seeds and label draws, smaller than today's, with which it was reported.
        others: reports of the same tasks with other settings, in words.
    """

    extended: list[tuple[int, int]]
    others: list[str]


class History:
    """All reports of the studies that share a folder of runs, oldest first.

    Args:
        runs: the folder of runs.

    Raises:
        ValueError: the file is no list of reports.
    """

    def __init__(self, runs: Path) -> None:
        self.path = runs / FILE
        self.reports = read_json(self.path).get("reports", [])
        whole = isinstance(self.reports, list) and all(
            isinstance(one, dict)
            and all(isinstance(one.get(key), kind) for key, kind in KINDS.items())
            for one in self.reports
        )
        if not whole:
            raise ValueError(
                f"{self.path} is damaged (no list of reports); put it back, or remove it and "
                "remember yourself what was reported before"
            )

    def add_study(self, name: str, study: Study, arms: dict[str, Arm]) -> EarlierReports:
        """Note today's report of a study, and tell the earlier ones.

        Args:
            name: of the study's folder.
            study: what was asked.
            arms: by name.
        """
        settings = asdict(study)
        rest = {key: value for key, value in settings.items() if key not in FREE}
        rest = {key: value for key, value in rest.items() if (key, value) not in LATER}
        ways = {
            arm: {key: value for key, value in asdict(way).items() if (key, value) not in LATER}
            for arm, way in arms.items()
        }
        now = {
            "date": calendar.today().isoformat(),
            "name": name,
            "seeds": study.seeds,
            "draws": study.draws,
            "settings": digest([rest, ways]),
            "task": digest([settings[key] for key in TASK]),
            "primary": f"{study.primary.data}, {study.primary.protocol}",
            "margin": study.margin,
        }
        return self.add(now)

    def add(self, now: dict[str, Any]) -> EarlierReports:
        """Note a report, and tell the earlier ones.

        Args:
            now: what KINDS names, and the margin.
        """
        before = self.reports
        if not any(one | {"date": now["date"]} == now for one in before):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, {"reports": [*before, now]})
        same = [one for one in before if one["settings"] == now["settings"]]
        sizes = {(one["seeds"], one["draws"]) for one in same}
        smaller = {one for one in sizes if _size(*one) < _size(now["seeds"], now["draws"])}
        others = [
            one
            for one in before
            if one["task"] == now["task"]
            and (one["settings"] != now["settings"] or one.get("margin") != now.get("margin"))
        ]
        return EarlierReports(sorted(smaller), list(dict.fromkeys(map(report_text, others))))


def _size(seeds: int, draws: int) -> int:
    return seeds * draws


def report_text(report: dict[str, Any]) -> str:
    """An earlier report in words."""
    margin = report.get("margin")
    ends = f", margin {100 * margin:g} points" if margin else ""
    seeds = f"{report['seeds']} seeds x {report['draws']} label draws"
    return f"{report['date']}, {report['name']}: {seeds}, primary {report['primary']}{ends}"
