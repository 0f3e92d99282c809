"""Images, figures, histograms, tables, texts, sounds and videos of a trial: what is logged of them, and read back.

Values are recognised by the module that their type is of, so none of the packages they come from is imported.
"""

from __future__ import annotations

from track.media.content import Content
from track.media.figures import figure_content
from track.media.histograms import histogram_content
from track.media.images import image_content, type_of_image
from track.media.medium import Histogram, Media, Medium, media_in, plain_medium, said_of
from track.media.sounds import audio_content, type_of_recording, video_content
from track.media.tables import table_content
from track.media.texts import framed, html_content, text_content
from track.media.writing import MediaWriter, kept_of

__all__ = [
    "Content",
    "Histogram",
    "Media",
    "MediaWriter",
    "Medium",
    "audio_content",
    "figure_content",
    "framed",
    "histogram_content",
    "html_content",
    "image_content",
    "kept_of",
    "media_in",
    "plain_medium",
    "said_of",
    "table_content",
    "text_content",
    "type_of_image",
    "type_of_recording",
    "video_content",
]
