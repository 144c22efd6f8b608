#pragma once
// SPDX-License-Identifier: MIT
// What a translation unit reports: its loss before and after training.
struct outcome {
  double first = 0;
  double last = 0;
};
