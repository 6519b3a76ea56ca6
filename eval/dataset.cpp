#include "eval/dataset.h"

namespace canvaslab {

DatasetRegistry& datasets() {
  static DatasetRegistry registry("data set");
  return registry;
}

}  // namespace canvaslab
