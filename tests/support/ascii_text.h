#pragma once
// Token ids that are ASCII characters, for data sets whose answers are text.
#include <span>
#include <string>

#include "eval/grading/answer.h"

namespace canvaslab::testing {

/// Ids from 32 are ASCII; 1 ends an answer; with channels 2 opens and 3 closes one.
inline grading::TextDecoder ascii_decoder(bool channels) {
  grading::TextDecoder out;
  out.decode = [](std::span<const int32_t> ids) {
    std::string text;
    for (const int32_t id : ids)
      if (id >= 32) text += static_cast<char>(id);
    return text;
  };
  out.count_tokens = [](const std::string& text) { return text.size(); };
  out.stop_ids = {1};
  if (channels) out.channel_open = 2, out.channel_close = 3;
  return out;
}

}  // namespace canvaslab::testing
