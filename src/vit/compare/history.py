"""What was reported before; each extension after a look at the results halves alpha."""

from dataclasses import asdict
from datetime import date as calendar
from pathlib import Path
from typing import Any

from vit.callbacks.run_folder import read_json, write_json
from vit.compare.study import Arm, Study
from vit.digest import digest

KINDS = {"date": str, "seeds": int, "settings": str, "primary": str}  # of one report


class History:
    """The reports of one study, oldest first.

    Args:
        path: study.json, beside the results.

    Raises:
        ValueError: the file is no list of reports.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reports = read_json(path).get("reports", [])
        whole = isinstance(self.reports, list) and all(
            isinstance(one, dict)
            and all(isinstance(one.get(key), kind) for key, kind in KINDS.items())
            for one in self.reports
        )
        if not whole:
            raise ValueError(
                f"{path} is damaged (no list of reports); put it back, or remove it and "
                "remember yourself what was reported before"
            )

    def add_study(self, study: Study, arms: dict[str, Arm]) -> tuple[list[int], list[str]]:
        """Note today's report of a study; as `add`."""
        settings = asdict(study, dict_factory=as_reported_before)
        settings |= {"seeds": None, "question": None}
        ways = {name: asdict(arm, dict_factory=as_reported_before) for name, arm in arms.items()}
        settings_digest = digest([settings, ways])
        primary = f"{study.primary.data}, {study.primary.protocol}"
        return self.add(calendar.today().isoformat(), study.seeds, settings_digest, primary)

    def add(
        self, date: str, seeds: int, settings: str, primary: str
    ) -> tuple[list[int], list[str]]:
        """Note a report.

        Returns:
            fewer seeds with which the same settings were reported: this is their extension; and
            the reports of other settings, in words.
        """
        now = {"date": date, "seeds": seeds, "settings": settings, "primary": primary}
        before = self.reports
        if not any(one | {"date": date} == now for one in before):
            write_json(self.path, {"reports": [*before, now]})
        counts = {one["seeds"] for one in before if one["settings"] == settings}
        return sorted(count for count in counts if count < seeds), [
            f"{one['date']}: {one['seeds']} seeds, primary {one['primary']}"
            for one in before
            if one["settings"] != settings
        ]


def as_reported_before(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a dataclass by the names that stand in the digests of earlier reports."""
    earlier = {"checkpoint_cost": "upstream", "published": "words"}
    return {earlier.get(name, name): value for name, value in pairs if name != "each"}
