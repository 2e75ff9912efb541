-- <What this takes back, in one sentence>
-- loses: <the rows that go with it>

