-- <What this takes back, in one sentence>

