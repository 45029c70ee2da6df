/// @file framealloc.h
/// All of framealloc: memory that knows what it is for. Start at frame.h; context.h makes the
/// object you need first.
#pragma once

#include "arena.h"
#include "backend.h"
#include "base.h"
#include "budget.h"
#include "context.h"
#include "diagnostics.h"
#include "frame.h"
#include "map.h"
#include "phase.h"
#include "span.h"
#include "stats.h"
#include "str.h"
#include "tag.h"
#include "vec.h"
