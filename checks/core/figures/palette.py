"""Every colour of the figures, in one place, so that a test can ask whether they can be distinguished.

Marks have a contrast of 3:1 at least against white and words 4.5:1 (WCAG 2.2, 1.4.11 and 1.4.3). Marks of one panel are distinguished by
everybody, people without red, green or blue cones among them, which a test asks of the drawn figures. The hues are those of
Okabe and Ito; lightness is set apart so that thin lines on white keep both promises, which the originals (orange, sky blue) do not.
"""

INK, GREY = "#1A1A1A", "#666666"
# A grey for marks, since that of words is too near to the others without green cones.
STONE = "#858585"
BLUE, ORANGE, GREEN, RED, PURPLE = "#1F8FDB", "#C38200", "#00784B", "#BC2A12", "#873C87"
# The same hues for words, where those of marks are too light.
BLUE_WORDS, ORANGE_WORDS = "#0069A8", "#8A5C00"
# Grounds, which are no marks: what is behind them says the same in words.
SHADE, LANE, ALLOWED = "#F0F0F0", "#F3F3F3", "#DDEFE8"
# The ground of a cell of a map to which a claim does not apply; grey, which the scale of the map nearly is in its middle, but lighter.
NOTHING = "#D6D6D6"
