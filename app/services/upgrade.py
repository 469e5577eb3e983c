"""Migration by use: a probe that matched gives a template its descriptor under a newer model.

Where a gallery keeps no images, nothing can be re-embedded when another model goes into service:
templates stay under their old model. In a gallery that allows it (``upgrade_on_match``) the next
probe that matches such a template is itself the image that was missing. A false match would open
the door for good, so more is asked than at the door; see docs/adr/0016.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from app.core.ports import LoadedModel, Transaction
from app.core.records import ReferenceTemplate, Template
from app.core.types import Descriptor, Probe
from app.matching.calibration import DEFAULT_FMR
from app.matching.score import compare_many, stack_references
from app.services import audit
from app.services.attempt import Attempt
from app.services.kinship import may_take_over
from app.services.policy import strictest_fmr
from app.services.recognise import ProbeImage
from app.services.references import Pair, sharing

log = logging.getLogger(__name__)

SHARE_ASKED = 0.1
"""Of the door's false match rate, or the default one where that is smaller: what all comparisons
that may vouch for an upgrade have together."""
SHARE_ALLOWED = 0.5
"""The same where a calibration has no counts for so small a rate."""


@dataclass(frozen=True, slots=True)
class Voucher:
    """An old model's comparison that is good enough to vouch for the probe.

    Attributes:
        fmr: the rate of the threshold that it reached.
        rank: what it is chosen by: the false match rate of its score, then its place.
    """

    reference: ReferenceTemplate
    fmr: float
    rank: tuple[float, int]


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What a match may add to a template: the probe's descriptor under the active model.

    It is made ready before anything is decided, so that the work does not tell what comes of it.
    """

    vouchers: tuple[Voucher, ...]
    descriptor: Descriptor

    def of_finger(self, fingers: Collection[int]) -> Voucher | None:
        """The best voucher; None where the matches are of more than one finger."""
        seen = {*fingers, *(voucher.reference.template.finger for voucher in self.vouchers)}
        return (
            min(self.vouchers, key=lambda v: v.rank) if len(seen) == 1 and self.vouchers else None
        )


def prepare_upgrade(
    attempt: Attempt, probe: ProbeImage, older: Sequence[Pair], fmr: float
) -> Upgrade | None:
    """Embed the probe under the active model and see which old comparisons vouch for it.

    The work is the same whatever comes of it. Where no claimed template is left under an older
    model, or nobody is claimed, the probe is embedded as often as if one were.

    Args:
        older: the claim's templates that are compared under another model, best ranked first.
        fmr: the rate of the door.

    Returns:
        None where the gallery does not allow it or there is nothing to upgrade.
    """
    if not attempt.gallery.upgrade_on_match:
        return None
    left = [pair for pair in older if _lacks_only_a_probe(attempt, pair)]
    if not left:
        _spend_as_much(attempt, probe)
        return None
    with attempt.watch.stage("embed"):
        seen = {model.id: probe.under(model) for model in (attempt.model, *(m for m, _ in left))}
    with attempt.watch.stage("match"):
        vouchers = _vouchers(left, seen, min(fmr, DEFAULT_FMR))
    return Upgrade(vouchers, _upright(seen[attempt.model.id], attempt.model))


def store_upgrade(
    tx: Transaction, attempt: Attempt, upgrade: Upgrade, fingers: Collection[int]
) -> Template | None:
    """Give the matched finger's best vouched template its descriptor, once.

    Args:
        fingers: position codes of everything that matched at the door.

    Returns:
        The template; None where none is vouched for, or where it was upgraded, re-embedded or
        deleted meanwhile, or the gallery does not want it any more.
    """
    voucher = upgrade.of_finger(fingers)
    gallery = tx.galleries.get(attempt.gallery.id)
    if voucher is None or gallery is None or not gallery.upgrade_on_match:
        return None
    template, old = voucher.reference.template, voucher.reference.model_id
    known = {reference.model_id for reference in tx.templates.references([template.id])}
    if old not in known or attempt.model.id in known:
        return None
    tx.templates.add_descriptor(template.id, attempt.model.id, upgrade.descriptor, of_probe=True)
    details = {
        "gallery": gallery.id,
        "person_id": template.person_id,
        "model_id": attempt.model.id,
        "vouched_by": old,
        "fmr": voucher.fmr,
    }
    tx.audit.record(audit.event(attempt.actor, "template.upgraded", template.id, **details))
    return template


def _spend_as_much(attempt: Attempt, probe: ProbeImage) -> None:
    """Embed under the active model and one more of its kind, if any is in memory."""
    kind = attempt.model.kind
    kin = [model for model in attempt.ctx.models.beside() if model.kind == kind]
    with attempt.watch.stage("embed"):
        for model in (attempt.model, *kin[:1]):
            probe.under(model)


def _lacks_only_a_probe(attempt: Attempt, pair: Pair) -> bool:
    """A kept image is re-embedded, and no model decides over what it is not of."""
    model, reference = pair
    return not reference.template.has_image and may_take_over(
        attempt.ctx.models, attempt.model, (model.id,)
    )


def _vouchers(left: Sequence[Pair], seen: dict[str, Probe], door_fmr: float) -> tuple[Voucher, ...]:
    """Those of the best ranked templates that reach the upgrade's threshold under their model.

    As many may vouch as keep the rate that is allowed; together they have the one that is asked,
    or as near to it as each one's calibration reaches.
    """
    asked = sharing(left, SHARE_ALLOWED * door_fmr)
    found = []
    for place, (model, reference) in enumerate(asked):
        fmr = max(SHARE_ASKED * door_fmr / len(asked), strictest_fmr(model.calibration))
        references = stack_references([reference.descriptor])
        score = float(compare_many(seen[model.id], *references, model.matching)[0])
        if score >= model.calibration.threshold(fmr):
            rank = model.calibration.fmr_at(score), place
            found.append(Voucher(reference, fmr, rank))
    return tuple(found)


def _upright(probe: Probe, model: LoadedModel) -> Descriptor:
    """What would be stored of the probe had it been enrolled."""
    upright = model.matching.upright_view
    return Descriptor(probe.cells[upright], probe.mask[upright])
