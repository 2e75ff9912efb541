-- <What this takes back, in one sentence>
-- transactional: false

