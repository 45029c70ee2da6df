// The program that tests of misuse damage: a context with a frame, an arena and something in both,
// and what it takes to see that nothing else has happened to it.
#pragma once

#include "fault_backend.h"

#include <framealloc/framealloc.h>

// A program at work: one frame and one arena with something in them.
typedef struct stage {
    fault_backend faults;
    fa_context *ctx;
    fa_arena *frame; // NULL once the misuse has ended it.
    fa_arena *arena; // NULL once the misuse has destroyed it.
    unsigned char *in_frame;
    unsigned char *in_arena;
    fa_tag tag;
    fa_scratch scratch;
    size_t pushed;
    fa_result wait; // What waiting for a fence comes to.
    unsigned reports;
    int code; // Of the last report.
    char line[512];
    fa_result result; // What the misused call returned; FA_OK where it returns nothing.
    fa_error error;   // fa_last_error() after it, on the thread that made it.
    char text[512];
} stage;

// Makes everything and clears fa_last_error(); `report` gets the stage as its user.
void stage_open(stage *s, fa_strict strict, fa_report_fn report);

// Ends what the misuse has left, and checks that everything was given back.
void stage_close(stage *s);

// Notes what the misused call came to. Called by each misuse, on its thread, right after the call.
void stage_note(stage *s, fa_result result);

// The same for a call that returns a pointer.
void stage_note_null(stage *s, const void *ptr);

// Checks that the program goes on as if nothing had been.
void stage_check_sound(stage *s);
