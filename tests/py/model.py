"""The rules of access in plain Python, from access.toml and the words of the policies' comments, not from their SQL.

`test_isolation_stateful` holds PostgreSQL to it. Who acts is a user's id; None is nobody.
"""

from dataclasses import dataclass, field

ROLES = ("standard_user", "team_admin", "super_admin")


@dataclass
class User:
    """A person who may be let in."""

    role: str
    is_active: bool = True


@dataclass
class Server:
    """A predefined server, or a custom one with whoever made it."""

    custom: bool
    maker: str | None = None


@dataclass
class Config:
    """What a user has set for a server, and whether its container runs."""

    user: str
    server: str
    enabled: bool = False
    running: bool = False


@dataclass
class Session:
    """A session of a user."""

    user: str


@dataclass
class Team:
    """A team, and who made it."""

    maker: str | None
    is_active: bool = True


@dataclass
class Membership:
    """Somebody's place in a team, as 'member' or 'admin'."""

    team: str
    user: str
    role: str


@dataclass
class Portal:
    """Everything there is, by id, and what each may do with it."""

    users: dict[str, User] = field(default_factory=dict)
    servers: dict[str, Server] = field(default_factory=dict)
    configs: dict[str, Config] = field(default_factory=dict)
    sessions: dict[str, Session] = field(default_factory=dict)
    teams: dict[str, Team] = field(default_factory=dict)
    memberships: dict[str, Membership] = field(default_factory=dict)
    narrowed: bool = False
    """The setting team_admin_scope = 'teams'."""

    # Who somebody is

    def is_let_in(self, me: str | None) -> bool:
        """A user who exists and is active."""
        return me in self.users and self.users[me].is_active

    def is_admin(self, me: str | None) -> bool:
        """An active super_admin; an active team_admin too, unless the setting narrows them."""
        admins = ("super_admin",) if self.narrowed else ("super_admin", "team_admin")
        return me in self.users and self.is_let_in(me) and self.users[me].role in admins

    def teams_of(self, me: str | None, role: str | None = None) -> set[str]:
        """The teams that an active user is in, or is in as `role`."""
        if not self.is_let_in(me):
            return set()
        return {each.team for each in self.memberships.values() if each.user == me and role in (None, each.role)}

    def reached(self, me: str | None) -> set[str]:
        """The users whom somebody sees: themselves; an admin everyone; a narrowed team_admin the members too of the
        active teams that they administer, active themselves or not.
        """  # noqa: D205 - one sentence
        if self.is_admin(me):
            return set(self.users)
        if me is None or not self.is_let_in(me):
            return set()
        others = set()
        if self.users[me].role == "team_admin":
            mine = {team for team in self.teams_of(me, "admin") if self.teams[team].is_active}
            others = {each.user for each in self.memberships.values() if each.team in mine}
        return {me} | others

    # What they see

    def sees_server(self, me: str | None, server: str) -> bool:
        """The predefined are every active user's; a custom one is seen by its maker, and whoever sees its maker."""
        one = self.servers[server]
        return self.is_admin(me) or (one.maker in self.reached(me) if one.custom else self.is_let_in(me))

    def sees_team(self, me: str | None, team: str) -> bool:
        """An admin sees every team, anyone else their own."""
        return self.is_admin(me) or team in self.teams_of(me)

    def visible_configs(self, me: str | None) -> dict[str, Config]:
        """The configurations of whoever is seen."""
        reached = self.reached(me)
        return {key: each for key, each in self.configs.items() if each.user in reached}

    def own_sessions(self, me: str | None) -> set[str]:
        """Sessions are their user's alone, whoever else is an admin."""
        return {key for key, each in self.sessions.items() if each.user == me and self.is_let_in(me)}

    def own_servers(self, me: str | None) -> set[str]:
        """The custom servers that an active user made."""
        return {key for key, each in self.servers.items() if each.custom and each.maker == me and self.is_let_in(me)}

    def reads(self, me: str | None) -> dict[str, set[object]]:
        """What each relation shows: ids, and of the views every number."""
        configs = self.visible_configs(me)
        servers = {key for key in self.servers if self.sees_server(me, key)}
        return {
            "users": set(self.reached(me)),
            "mcp_servers": set(servers),
            "user_server_configs": set(configs),
            "user_sessions": set(self.own_sessions(me)),
            "teams": {key for key in self.teams if self.sees_team(me, key)},
            "team_members": {key for key, each in self.memberships.items() if self.sees_team(me, each.team)},
            "user_dashboard": {
                (user, *_counts([each for each in configs.values() if each.user == user])) for user in self.reached(me)
            },
            "server_statistics": {
                (server, *_counts([each for each in configs.values() if each.server == server])) for server in servers
            },
        }

    # What they change

    def updates(self, me: str | None) -> dict[str, set[str]]:
        """Which rows an UPDATE without a WHERE changes."""
        return {
            "users": {me} if me is not None and self.is_let_in(me) else set(),
            "mcp_servers": self.own_servers(me),
            "user_server_configs": set(self.visible_configs(me)),
            "user_sessions": self.own_sessions(me),
        }

    def deletes(self, me: str | None) -> dict[str, set[str]]:
        """Which rows a DELETE without a WHERE removes."""
        return {table: rows for table, rows in self.updates(me).items() if table != "users"}

    def may_configure(self, me: str | None, user: str, server: str) -> bool:
        """A configuration is made for whoever one sees, and for a server that one sees."""
        return user in self.reached(me) and self.sees_server(me, server)

    def may_open_session(self, me: str | None, user: str) -> bool:
        """One opens sessions for oneself."""
        return self.is_let_in(me) and user == me

    def may_add_server(self, me: str | None, maker: str | None, *, custom: bool) -> bool:
        """One adds custom servers, in one's own name."""
        return self.is_let_in(me) and custom and maker == me


def _counts(configs: list[Config]) -> tuple[int, int, int]:
    return len(configs), sum(each.enabled for each in configs), sum(each.running for each in configs)
