/// @file framealloc.h
/// All of framealloc: memory that knows what it is for. Start at frame.h; context.h makes the
/// object you need first.
#pragma once

#include "adopt.h"
#include "allocator.h"
#include "arena.h"
#include "backend.h"
#include "base.h"
#include "budget.h"
#include "components.h"
#include "context.h"
#include "diagnostics.h"
#include "entity.h"
#include "frame.h"
#include "handles.h"
#include "heap.h"
#include "map.h"
#include "phase.h"
#include "pool.h"
#include "shared.h"
#include "span.h"
#include "stats.h"
#include "str.h"
#include "stream.h"
#include "tag.h"
#include "vec.h"
