from launcher import grouping


def test_files_with_a_group_share_a_worker() -> None:
    assert grouping.scope("tests/launcher/test_up.py") == "platform"


def test_another_file_has_a_worker_for_itself() -> None:
    assert grouping.scope("tests/launcher/test_ports.py") == "tests/launcher/test_ports.py"
