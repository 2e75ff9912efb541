-- A user sees and changes themselves alone, an admin sees everyone, and nobody sees anyone without a context.
\ir begin.psql
SELECT plan(4);

INSERT INTO public.users (id, azure_oid, email) VALUES
('a0000000-0000-0000-0000-000000000001', 'alpha', 'alpha@example.org'),
('b0000000-0000-0000-0000-000000000001', 'beta', 'beta@example.org');

-- As alpha
SET LOCAL ROLE portal_app;
SET LOCAL app.current_user_id = 'a0000000-0000-0000-0000-000000000001';
SELECT results_eq('SELECT azure_oid::text FROM public.users', ARRAY['alpha'], 'alpha sees alpha alone');
SELECT throws_ok(
    $$UPDATE public.users SET role = 'super_admin'$$, '42501', NULL,
    'alpha cannot make themselves super_admin'
);

-- On the same connection after alpha: '' is what a pooled SET LOCAL leaves behind
SET LOCAL app.current_user_id = '';
SELECT is_empty('SELECT 1 FROM public.users', 'nobody sees a user without a context');
SET LOCAL app.current_user_id = 'nonsense';
SELECT throws_ok('SELECT 1 FROM public.users', '22P02', NULL, 'a malformed context is an error');

SELECT finish();
ROLLBACK;
