from shapca.storage.differences import differences, leaves


def test_leaves_are_named_by_the_keys_that_lead_to_them() -> None:
    assert leaves({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "d": [2]}


def test_differences_are_named_leaf_by_leaf() -> None:
    before = {"same": 1, "long": "x" * 41, "section": {"changed": None, "dropped": 2}}
    after = {"same": 1, "long": "y", "section": {"changed": 3, "added": None}}
    assert differences(before, after, separator=": ", absent="nothing") == [
        ("long", "xxxxxxxxxxxx…", "y"),
        ("section: added", "nothing", "None"),
        ("section: changed", "None", "3"),
        ("section: dropped", "2", "nothing"),
    ]


def test_equal_trees_differ_in_nothing() -> None:
    assert differences({"a": {"b": [1, 2]}}, {"a": {"b": [1, 2]}}) == []
