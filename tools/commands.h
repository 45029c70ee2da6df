/// @file commands.h
/// The subcommands of the program, and how it ends.
#pragma once

/// Exit codes.
typedef enum exit_status {
    EXIT_OK = 0, ///< All went well.
    EXIT_FAILED =
        1, ///< What was asked for was done and failed: a replay did not verify, output was refused.
    EXIT_USAGE = 2 ///< The command line or a file it names cannot be used.
} exit_status;

/// A subcommand. argv[0] is its name.
typedef exit_status (*command_fn)(int argc, char **argv);

exit_status command_replay(int argc, char **argv);
exit_status command_explain(int argc, char **argv);
