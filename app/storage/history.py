"""The history of templates, which search indexes follow."""

from __future__ import annotations

import sqlalchemy as sa

from app.storage.tables import changes, templates


class History:
    """Writes and reads the changes of one transaction's connection.

    Attributes:
        erased: whether the transaction removed templates, descriptors or keys, so that the log must
            be emptied of them.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.erased = False

    def added(self, gallery: str, template_id: str) -> None:
        """Note a new template or a new descriptor of it."""
        self._connection.execute(
            sa.insert(changes).values(gallery=gallery, template_id=template_id, removed=False)
        )

    def changed(self, which: sa.ColumnElement[bool]) -> None:
        """Note that descriptors of templates that stay are other ones by now."""
        self._note(which, removed=False)

    def removed(self, which: sa.ColumnElement[bool]) -> None:
        """Note the removal of templates; to be called while they are still there."""
        self._note(which, removed=True)
        self.erased = True

    def _note(self, which: sa.ColumnElement[bool], *, removed: bool) -> None:
        # What was removed is for people who read the table; an index asks what is left.
        touched = sa.select(templates.c.gallery, templates.c.id, sa.literal(removed)).where(which)
        self._connection.execute(
            sa.insert(changes).from_select(
                ["gallery", "template_id", "removed"], touched.order_by(templates.c.id)
            )
        )

    def last(self) -> int:
        """Sequence number of the newest change, 0 where there is none."""
        return self._connection.scalar(sa.select(sa.func.max(changes.c.seq))) or 0

    def upto(self, gallery: str, seq: int, limit: int) -> int:
        """Where so many of a gallery's changes after ``seq`` end: with the newest of all galleries
        where there are not so many."""
        some = sa.select(changes.c.seq).where(changes.c.gallery == gallery, changes.c.seq > seq)
        some_seq = some.order_by(changes.c.seq).limit(limit).subquery().c.seq
        found = self._connection.execute(sa.select(sa.func.count(), sa.func.max(some_seq))).one()
        return int(found[1]) if found[0] == limit else self.last()
