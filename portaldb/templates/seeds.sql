-- <Which rows these are, in one sentence>
-- depends: <depends>
--
-- A seed can run twice: INSERT … ON CONFLICT DO NOTHING, or DO UPDATE where the file is the truth.

