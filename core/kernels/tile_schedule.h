#pragma once
// Which tile of a grouped product a block works on: rows fall into groups (experts) of any size, known on the device alone.
#include <cstdint>

#include "core/kernels/host_device.h"

namespace canvaslab {

/// One tile of the result.
struct ProductTileAt {
  int32_t group, row_tile, feature_tile;
};

/// All tiles in a row: groups in rising order, in a group its feature tiles, in a feature tile the row tiles, so that blocks which read the same weights run side by side and share the second-level cache.
/// Groups without rows have no tiles.
struct TileSchedule {
  const int32_t* before = nullptr;  ///< [num_groups + 1] row tiles of the groups before
  int32_t num_groups = 0, feature_tiles = 0;

  CANVASLAB_HOST_DEVICE static int32_t row_tiles(int32_t rows, int32_t tile_rows) { return (rows + tile_rows - 1) / tile_rows; }
  CANVASLAB_HOST_DEVICE int64_t count() const { return static_cast<int64_t>(before[num_groups]) * feature_tiles; }
  /// 0 <= item < count().
  CANVASLAB_HOST_DEVICE ProductTileAt at(int64_t item) const {
    int32_t low = 0, high = num_groups;  // the last group whose tiles begin at or before the item
    while (high - low > 1) {
      const int32_t middle = (low + high) / 2;
      if (static_cast<int64_t>(before[middle]) * feature_tiles <= item) low = middle;
      else high = middle;
    }
    const int32_t tiles = before[low + 1] - before[low];
    const auto within = static_cast<int32_t>(item - static_cast<int64_t>(before[low]) * feature_tiles);
    return {low, within % tiles, within / tiles};
  }
};

}  // namespace canvaslab
