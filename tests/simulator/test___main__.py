import pytest

from watchkey.simulator.__main__ import main


def test_the_help_says_what_it_is_for(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(["--help"])
    assert ending.value.code == 0
    assert "PagerDuty account on a loopback port" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--port", "many"], ["--start", "yesterday"], ["--nonsense"]])
def test_wrong_arguments_are_misuse(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main(arguments)
    assert ending.value.code == 2
    assert "usage" in capsys.readouterr().err
