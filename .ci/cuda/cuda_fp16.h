// See stand_in.h.
#pragma once
#include <stand_in.h>
