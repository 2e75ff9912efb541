-- <What this file is for, in one sentence>
-- depends: <depends>
--
-- <Why, where it is not plain. A table brings its constraints, indexes, RLS switch, grants and comments with it.>

