"""``whorl keys``: API keys made, listed and revoked."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from app.cli.display import JsonOption, console, emit, refusing, say, table
from app.core.errors import InvalidInput
from app.core.records import Scope
from app.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")


@app.command()
@refusing()
def create(
    name: Annotated[str, typer.Argument(help="What the key is for; shown in lists.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(help=f"What the key may do, several times: {', '.join(Scope)}."),
    ] = None,
    all_scopes: Annotated[
        bool, typer.Option("--all-scopes", help="The key may do everything.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a key. Its token goes to standard output, now and never again.

    Example: whorl keys create reception --scope verify --scope identify
    """
    if all_scopes and scope:
        raise InvalidInput("give --scope or --all-scopes, not both", slug="scopes_ambiguous")
    scopes = frozenset(Scope) if all_scopes else _scopes(scope or [])
    from app.bootstrap.home import open_home
    from app.cli.home import ACTOR
    from app.services.keys import create_key

    with open_home(Settings()) as home:
        key, token = create_key(home.store, ACTOR, name, scopes)
    say(console(), f"key {key.id} ({key.name}); keep its token safe, it is shown this once:")
    if as_json:
        emit({"id": key.id, "name": key.name, "scopes": key.scopes, "token": token})
    else:
        typer.echo(token)


@app.command("list")
@refusing()
def list_(as_json: JsonOption = False) -> None:
    """List all keys, revoked ones included. Secrets are not stored and cannot be shown."""
    from app.cli.home import existing_home
    from app.services.keys import list_keys

    with existing_home(Settings()) as home:
        keys = list_keys(home.store)
    rows = [
        (
            key.id,
            key.name,
            "all" if key.scopes == frozenset(Scope) else " ".join(sorted(key.scopes)),
            day(key.created_ms),
            "in use" if key.revoked_ms is None else f"revoked {day(key.revoked_ms)}",
        )
        for key in keys
    ]
    columns = ["Id", "Name", "Scopes", "Made", "State"]
    console().print(table(columns, rows) if rows else "no keys yet")
    if as_json:
        shown = ("id", "name", "scopes", "created_ms", "revoked_ms")
        emit({"keys": [{name: getattr(key, name) for name in shown} for key in keys]})


@app.command()
@refusing()
def revoke(key_id: Annotated[str, typer.Argument(help="Id of the key, as in the list.")]) -> None:
    """Revoke a key for good; requests with it are refused from now on.

    Example: whorl keys revoke 0123456789abcdef
    """
    from app.bootstrap.home import open_home
    from app.cli.home import ACTOR
    from app.services.keys import revoke_key

    with open_home(Settings()) as home:
        revoke_key(home.store, ACTOR, key_id)
    say(console(), f"key {key_id} is revoked")


def day(at_ms: int) -> str:
    """Date and minute, UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _scopes(names: list[str]) -> frozenset[Scope]:
    unknown = sorted(set(names) - set(Scope))
    if unknown:
        raise InvalidInput(
            f"unknown scope {', '.join(unknown)}; known: {', '.join(Scope)}", slug="unknown_scope"
        )
    return frozenset(Scope(name) for name in names)
