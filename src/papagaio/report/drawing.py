"""SVG built from elements, so that it is well-formed and every text is escaped."""

from xml.etree.ElementTree import Element, SubElement, tostring

from markupsafe import Markup

__all__ = ["add", "drawing", "markup"]


def drawing(name: str, size: tuple[float, float], title: str, description: str) -> Element:
    """An empty drawing.

    Args:
        name: prefix of its ids, unique in the page.
        size: width and height in user units.
        title: a short name.
        description: what it shows, for screen readers.
    """
    svg = Element(
        "svg",
        {
            "viewBox": f"0 0 {size[0]:g} {size[1]:g}",
            "role": "img",
            "aria-labelledby": f"{name}-title {name}-desc",
        },
    )
    add(svg, "title", title, id=f"{name}-title")
    add(svg, "desc", description, id=f"{name}-desc")
    return svg


def add(parent: Element, tag: str, content: str = "", **attributes: str | float) -> Element:
    """Add an element; `stroke_width=2` becomes `stroke-width="2"`, `class_` becomes `class`."""
    named = {
        key.rstrip("_").replace("_", "-"): value if isinstance(value, str) else f"{value:.4g}"
        for key, value in attributes.items()
    }
    child = SubElement(parent, tag, named)
    child.text = content or None
    return child


def markup(svg: Element) -> Markup:
    """The drawing as text that a template does not escape again."""
    return Markup(tostring(svg, encoding="unicode"))  # noqa: S704  # ElementTree has escaped it
