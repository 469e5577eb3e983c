"""The stages before the encoder, on captures as they come."""

from __future__ import annotations

from app.cli.bench.prints import Captures, PrintParams
from app.cli.bench.timing import Section, in_turns
from app.core.ports import LoadedModel
from app.imaging.decode import ImageLimits, decode, inspect
from app.imaging.normalise import centre_crop, normalise, search_views
from app.imaging.quality import assess
from app.imaging.resolution import resample
from app.imaging.ridges import ridge_field
from app.imaging.segment import segment
from app.services.recognise import SampleImage, prepare_capture


def preparation_section(model: LoadedModel, shown: Captures, seconds: float) -> Section:
    """Milliseconds of every stage for one capture, and as a share of embedding one view."""
    params = PrintParams.of(model).preparation
    data = shown.files[0][0]
    header = inspect(data, ImageLimits())
    pixels = decode(data, header)
    image = resample(pixels, shown.dpi, params.dpi)
    field = ridge_field(image, params.dpi)
    mask = segment(image, params, field)
    normal = normalise(image, mask, params)
    sample = centre_crop(normal, mask, params)
    (pose,) = model.poses([sample])
    views = search_views(sample, pose, model.matching)
    whole = SampleImage(data, shown.dpi, None, ImageLimits())
    taken = in_turns(
        {
            "decode": lambda: decode(data, header),
            "resample": lambda: resample(pixels, shown.dpi, params.dpi),
            "measure ridges": lambda: ridge_field(image, params.dpi),
            "segment": lambda: segment(image, params, field),
            "normalise": lambda: normalise(image, mask, params),
            "assess quality": lambda: assess(image, mask, params, field, normal),
            "crop": lambda: centre_crop(normal, mask, params),
            "all of these": lambda: prepare_capture(whole, params),
            "find the pose": lambda: model.poses([sample]),
            f"turn and shift {len(views)} views": lambda: search_views(
                sample, pose, model.matching
            ),
            "embed one view": lambda: model.embedder.embed(views[:1]),
            f"embed {len(views)} views": lambda: model.embedder.embed(views),
        },
        seconds,
    )
    one = taken["embed one view"].p50_ms
    rows = [
        [name, f"{times.p50_ms:.2f}", f"{times.p50_ms / one:.2f}"] for name, times in taken.items()
    ]
    height_px, width_px = pixels.shape
    says = f"One capture of {width_px} x {height_px} pixels, {shown.source}."
    return Section("Stages", ["Stage", "ms", "of embedding one view"], rows, says)
