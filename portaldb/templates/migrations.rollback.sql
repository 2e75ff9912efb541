-- <What this takes back, in one sentence>
-- loses: <the data that goes with it; leave the line out where none does>

