-- <What this takes back, in one sentence>

DROP FUNCTION public.<name>();
