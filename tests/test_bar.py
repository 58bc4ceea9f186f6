"""A progress bar is for terminals."""

from vit.cli.bar import progress_bar


def test_nothing_is_drawn_into_a_file_or_a_pipe(capfd):
    with progress_bar("reading") as show:
        for done in range(1, 4):
            show("reading", done, 3)
    assert capfd.readouterr() == ("", "")
