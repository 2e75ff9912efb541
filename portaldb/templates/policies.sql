-- <Who may see and change which rows, in one sentence>
-- depends: <depends>
--
-- <Why. A policy is named <table>_<rule>; say FOR which commands, TO whom, USING and WITH CHECK.>

