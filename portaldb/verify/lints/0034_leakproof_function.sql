-- A function of ours says of itself that it is leakproof, so it may see rows before the policies do.
-- level: error
-- fix: ALTER FUNCTION … NOT LEAKPROOF; or accept it with the proof that no error and no notice tells an argument.

SELECT
    f.name AS object,
    'LEAKPROOF' AS detail
FROM functions AS f
WHERE f.leakproof
