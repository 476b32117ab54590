from launcher import grouping


def test_files_with_a_group_share_a_worker() -> None:
    assert grouping.scope("tests/launcher/test_up.py") == "platform"


def test_another_file_has_a_worker_for_itself() -> None:
    assert grouping.scope("tests/launcher/test_ports.py") == "tests/launcher/test_ports.py"


def test_long_files_begin_and_then_the_most_tests() -> None:
    soak, many, few = (
        "tests/launcher/test_soak.py",
        "tests/launcher/test_config.py",
        "tests/launcher/test_lock.py",
    )
    places = grouping.order([few, many, many, soak])
    assert sorted(places, key=lambda file: places[file]) == [soak, many, few]
    # A group is as long as its longest file.
    shared = grouping.order(["tests/wrangler/test_life.py", "tests/wrangler/test_d1.py"])
    assert len(set(shared.values())) == 1
