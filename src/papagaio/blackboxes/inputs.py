"""What a model says about its input, completed by what its owner states."""

from dataclasses import dataclass

from papagaio.blackboxes.contract import Declaration, Shape
from papagaio.blackboxes.pixels import SCALES, PixelForm, parsed_scale
from papagaio.errors import BadSettings
from papagaio.vocabulary import Layout

__all__ = ["Axes", "ImageInput"]

# The size of each axis, None where the model leaves it open.
Axes = tuple[int | None, ...]

_CHANNELS = (1, 3)


@dataclass(frozen=True)
class ImageInput:
    """The input of a model, as far as the model describes it.

    Attributes:
        owner: what messages call the model.
        axes: the sizes of the input's axes, the batch first.
        dtype: float32, float16, float64 or uint8.
    """

    owner: str
    axes: Axes
    dtype: str

    @property
    def is_layout_open(self) -> bool:
        """Whether the sizes of the axes do not show which one holds the channels."""
        return (self.axes[1] in _CHANNELS) == (self.axes[-1] in _CHANNELS)

    def form(self, declared: Declaration) -> PixelForm:
        """How it takes images.

        Raises:
            BadSettings: neither the model nor its owner says so, or they disagree.
        """
        form = PixelForm(
            scale=declared.scale or "0..255",
            order=declared.colour_order or "rgb",
            layout=self._layout(declared),
            dtype=self.dtype,
        )
        parsed_scale(form.scale)
        if self.dtype == "uint8":
            if form.scale != "0..255":
                raise BadSettings(
                    f"{self.owner} takes bytes, from 0 to 255", field="scale", value=form.scale
                )
        elif declared.scale is None:
            raise BadSettings(
                f"{self.owner} does not say on which scale its pixels are; state "
                f"{', '.join(SCALES)} or MEAN,.../DEVIATION,... in bytes; papagaio check finds it "
                "for a model's file",
                field="scale",
            )
        return form

    def shape(self, layout: Layout, declared: Declaration) -> Shape:
        """Height, width and channels of its images.

        Raises:
            BadSettings: neither the model nor its owner says so.
        """
        order = (2, 3, 1) if layout == "nchw" else (1, 2, 3)
        own = [self.axes[axis] for axis in order]
        if None in own and declared.shape is None:
            raise BadSettings(
                f"{self.owner} takes images of any size; state which it was trained on",
                field="input",
            )
        stated = declared.shape or (0, 0, 0)
        height, width, channels = (mine or given for mine, given in zip(own, stated, strict=True))
        return height, width, channels

    def _layout(self, declared: Declaration) -> Layout:
        if len(self.axes) != 4:
            raise BadSettings(
                f"{self.owner} takes {len(self.axes)} axes {_in_words(self.axes)}; an image model "
                "takes 4: batch, height, width and channels (1 or 3), in this or another order"
            )
        if declared.layout:
            channels = self.axes[1 if declared.layout == "nchw" else 3]
            if channels not in (None, *_CHANNELS):
                raise BadSettings(
                    f"{self.owner} takes {_in_words(self.axes)}, which has {channels} where "
                    f"{declared.layout} has its channels",
                    field="layout",
                    value=declared.layout,
                )
            return declared.layout
        if self.is_layout_open:
            raise BadSettings(
                f"{self.owner} takes {_in_words(self.axes)}, which does not show where its "
                "channels are; state nchw or nhwc",
                field="layout",
            )
        return "nchw" if self.axes[1] in _CHANNELS else "nhwc"


def _in_words(axes: Axes) -> str:
    return " x ".join("?" if size is None else str(size) for size in axes)
