// SPDX-License-Identifier: MIT
// Built for the baseline instruction set.
#include "step.hpp"

outcome train_baseline() { return train(); }
