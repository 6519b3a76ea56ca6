#pragma once
// The arithmetic of row_ops.h for one element, as the GPU's threads do it: the same operations in the same order, so the same bits.
#include "core/kernels/dequantise.h"

namespace canvaslab {

/// e^x for |x| up to 87; 0 below, 2^127 above: see vectors_body.inc, whose vectors do this.
CANVASLAB_HOST_DEVICE float row_exponential(float x) {
  const float base_2 = x * 1.44269504f;
  const float above = base_2 > -127.0f ? base_2 : -127.0f;
  const float y = above < 127.0f ? above : 127.0f;
  const float magic = 12582912.0f + 127.0f;
  const float shifted = y + magic, n = shifted - magic;
  const float exact = ((x - n * 0.693145752f) - n * 1.42860677e-6f) * 1.44269504f;
  const float r = y > -127.0f && y < 127.0f ? exact : 0.0f;
  float p = r * 0x1.41fbbcp-13f + 0x1.5f3e52p-10f;
  p = p * r + 0x1.3b2d4cp-7f;
  p = p * r + 0x1.c6aee8p-5f;
  p = p * r + 0x1.ebfbdcp-3f;
  p = p * r + 0x1.62e430p-1f;
  p = p * r + 1.0f;
  return p * float_of_bits(bits_of_float(shifted) << 23);
}

/// gelu(x) * up, gelu by its tanh form.
CANVASLAB_HOST_DEVICE float row_gelu_times(float x, float up) {
  const float z = (x + x * x * x * 0.044715f) * -1.59576912f;
  return x / (row_exponential(z) + 1.0f) * up;
}

/// cap * tanh(x / cap), given 1 / cap rounded.
CANVASLAB_HOST_DEVICE float row_soft_cap(float x, float cap, float inverse) {
  const float y = x * inverse, size = y > -y ? y : -y, square = y * y;
  const float e = row_exponential(size * -2.0f);
  const float far = (1.0f - e) / (1.0f + e);
  const float near = size * (((((square * 0.0218694885f - 0.0539682540f) * square + 0.133333333f) * square - 0.333333333f) * square) + 1.0f);
  const float value = size < 0.25f ? near : far;
  return (y < 0.0f ? -value : value) * cap;
}

}  // namespace canvaslab
