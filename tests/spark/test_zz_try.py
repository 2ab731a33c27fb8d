import pytest, time
@pytest.mark.parametrize("mode", ["replace_slice","replace_all","merge","append_once"])
def test_modes(shop, mode):
    s = shop(mode=mode)
    s.give("2010-12-01.csv", ("2010-12-01", 1, "a", 1.0), ("2010-12-01", 2, "b", 2.0), ("2010-12-01","x","c",1))
    s.give("2010-12-02.csv", ("2010-12-02", 3, "a", 1.0))
    for a in [("2010-12-01",), ("2010-12-02",), ("2010-12-01",), ("2010-12-01","2010-12-02")]:
        t=time.time(); d = s.run(*a); print(mode, a, d["state"], d["reason"], time.time()-t, d["failure"] and d["failure"])
        print(d["outputs"]["orders"]); print(d["accounting"]); print(s.rows("day,id,item"))
    s.give("2010-12-01.csv", ("2010-12-01", 1, "a2", 1.0))
    t=time.time(); d = s.run("2010-12-01", "2010-12-02"); print(mode, d["state"], d["states"], time.time()-t)
    print(s.rows("day,id,item"))
