"""What was reported under a study's name before: who looks twice, and then at more, pays for it."""

from pathlib import Path

from vit.callbacks.run_folder import read_json, write_json

KINDS = {"date": str, "seeds": int, "settings": str, "primary": str}  # of one report


class History:
    """The reports of one study, oldest first.

    Args:
        path: study.json, beside the results.

    Raises:
        ValueError: the file is no list of reports.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.reports = path, read_json(path).get("reports", [])
        whole = isinstance(self.reports, list) and all(
            isinstance(one, dict)
            and all(isinstance(one.get(key), kind) for key, kind in KINDS.items())
            for one in self.reports
        )
        if not whole:
            raise ValueError(
                f"{path} is damaged (no list of reports); put it back, or remove it and tell "
                "yourself what was reported before"
            )

    def add(
        self, date: str, seeds: int, settings: str, primary: str
    ) -> tuple[list[int], list[str]]:
        """Note a report; fewer seeds of the same settings, and reports of other settings.

        Only the seeds of the same settings are an extension; anything else that was changed after
        a report is told.
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
