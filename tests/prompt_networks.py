"""Small promptable networks as ONNX, with the inputs and outputs of Segment Anything's export.

The encoder's cells are the colours of 4 x 4 pixels. The decoder's mask is what has the colour under
the first point, cut to the picture and resized as the published export does it; a second mask, the
opposite, has the lower quality.
"""

from pathlib import Path

SIDE, CELL = 128, 4  # pixels of the encoder's picture, and of a cell in it

_ENCODER = f"""
<ir_version: 8, opset_import: ["" : 18]>
encoder (float[1,3,{SIDE},{SIDE}] image) => (float[1,3,{SIDE // CELL},{SIDE // CELL}] embedding)
{{ embedding = AveragePool<kernel_shape = [{CELL}, {CELL}], strides = [{CELL}, {CELL}]>(image) }}
"""

_DECODER = f"""
<ir_version: 8, opset_import: ["" : 18]>
decoder (
  float[1,3,{SIDE // CELL},{SIDE // CELL}] image_embeddings, float[1,N,2] point_coords,
  float[1,N] point_labels, float[1,1,{SIDE},{SIDE}] mask_input, float[1] has_mask_input,
  float[2] orig_im_size
) => (
  float[1,2,H,W] masks, float[1,2] iou_predictions,
  float[1,2,{SIDE // CELL},{SIDE // CELL}] low_res_masks
)
<
  float[1,2] quality = {{0.1, 0.9}}, float half = {{0.5}}, float cell = {{{CELL}}},
  float top = {{8}}, float slope = {{2}}, float side = {{{SIDE}}},
  int64[1] first = {{0}}, int64[1] axis = {{1}}, int64[1] last = {{3}},
  int64[4] spread = {{1, 3, 1, 1}}, int64[2] zeros = {{0, 0}}, int64[2] axes = {{2, 3}},
  int64[4] whole = {{1, 2, {SIDE}, {SIDE}}}, int64[2] batch = {{1, 2}}
>
{{
  point = Gather<axis = 1>(point_coords, first)
  middle = Add(point, half)
  place = Div(middle, cell)
  floored = Floor(place)
  index = Cast<to = 7>(floored)
  turned = Transpose<perm = [3, 2, 1, 0]>(image_embeddings)
  cells = Squeeze(turned, last)
  colors = GatherND(cells, index)
  color = Reshape(colors, spread)
  difference = Sub(image_embeddings, color)
  square = Mul(difference, difference)
  distance = ReduceSum<keepdims = 1>(square, axis)
  steep = Mul(distance, slope)
  logits = Sub(top, steep)
  opposite = Neg(logits)
  low_res_masks = Concat<axis = 1>(opposite, logits)
  large = Resize<mode = "linear">(low_res_masks, , , whole)
  longest = ReduceMax<keepdims = 0>(orig_im_size)
  scale = Div(side, longest)
  scaled = Mul(orig_im_size, scale)
  rounded = Add(scaled, half)
  cut = Floor(rounded)
  ends = Cast<to = 7>(cut)
  part = Slice(large, zeros, ends, axes)
  size = Cast<to = 7>(orig_im_size)
  full = Concat<axis = 0>(batch, size)
  masks = Resize<mode = "linear">(part, , , full)
  iou_predictions = Identity(quality)
}}
"""


def write_networks(folder: Path, encoder: str = _ENCODER, decoder: str = _DECODER) -> Path:
    """The two files in a new folder."""
    from onnx import checker, parser, save

    folder.mkdir()
    for name, text in (("a_decoder", decoder), ("the_encoder", encoder)):
        model = parser.parse_model(text)
        checker.check_model(model)
        save(model, folder / f"{name}.onnx")
    return folder


def encoder_with(old: str, new: str) -> str:
    assert old in _ENCODER, old
    return _ENCODER.replace(old, new)


def decoder_with(old: str, new: str) -> str:
    assert old in _DECODER, old
    return _DECODER.replace(old, new)
