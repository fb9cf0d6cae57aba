// The two frames of a picture { orientation, width, height }: as it is stored, and as it is shown.

// From the stored pixels to upright ones, for every EXIF orientation.
export function turned({ orientation, width, height }) {
  const turns = {
    2: [-1, 0, 0, 1, width, 0],
    3: [-1, 0, 0, -1, width, height],
    4: [1, 0, 0, -1, 0, height],
    5: [0, 1, 1, 0, 0, 0],
    6: [0, 1, -1, 0, height, 0],
    7: [0, -1, -1, 0, height, width],
    8: [0, -1, 1, 0, 0, width],
  };
  return new DOMMatrix(turns[orientation] || [1, 0, 0, 1, 0, 0]);
}

// Width and height, upright.
export const shownSize = ({ orientation, width, height }) => (
  orientation > 4 ? [height, width] : [width, height]);

// From the stored pixels of one picture to those of another that lie at the same place of what is shown.
export function between(from, to) {
  const [[width, height], [wide, high]] = [shownSize(from), shownSize(to)];
  return turned(to).inverse().scale(wide / width, high / height).multiply(turned(from));
}
