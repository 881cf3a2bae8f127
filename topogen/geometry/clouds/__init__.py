"""What a point cloud tells of the set behind it: neighbours, dimension, scales, reach, sheets, singular points, slow modes."""
