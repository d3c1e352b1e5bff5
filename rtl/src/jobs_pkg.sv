// What travels between the processes: one job per step for each process. Queues carry them as plain bits.
package jobs_pkg;
    // A rectangle of a plane: `runs` of `length` pixels, `pitch` words apart.
    typedef struct packed {
        logic [31:0] offset;
        logic [15:0] runs;
        logic [15:0] length;
        logic [31:0] pitch;
    } bursts_t;

    // A request to a memory master: `length` beats from word `address` on; `done`: no beats, says that a step has ended.
    typedef struct packed {
        logic [31:0] address;
        logic [31:0] length;
        logic done;
    } request_t;

    typedef struct packed {
        bursts_t bursts;
        logic [15:0] groups;
    } fetch_t;

    typedef struct packed {
        logic [95:0] lane_select; // 3 bits for each lane
        logic [31:0] cells;       // of all groups together
        logic [15:0] rows;
        logic [15:0] cols;
        logic [15:0] row_begin; // the part of the tile that lies inside the image
        logic [15:0] row_end;
        logic [15:0] col_begin;
        logic [15:0] col_end;
        logic [15:0] pitch;
        logic [15:0] chunk_cells;
        logic [15:0] groups;
        logic [3:0] groups_per_chunk;
        logic [7:0] pad_value;
    } fill_t;

    typedef struct packed {
        logic [31:0] address;
        logic [31:0] words;
    } weight_t;

    typedef struct packed {
        logic [31:0] words;
        logic [15:0] beats;
    } assemble_t;

    typedef struct packed {
        logic [31:0] iterations;
        logic [31:0] taps;
        logic [15:0] beats;
        logic [31:0] pixels;
        logic [15:0] tile_width;
        logic [7:0] stride_x;
        logic [31:0] row_step; // cells from one row of output pixels to the next
        logic [7:0] pattern_count; // lane patterns that come with the job: those of a new layer
        logic max;
    } accumulate_t;

    typedef struct packed {
        logic [31:0] pixels;
        logic [15:0] emit_blocks;
        logic max;
        logic relu;
        logic look_up;
        logic new_table; // comes with the job
    } requantise_t;

    typedef struct packed {
        bursts_t bursts;
        logic [31:0] residual_table;
        logic [15:0] emit_blocks;
        logic [3:0] pixel_step; // words from one pixel to the next
        logic used;
    } residual_t;

    typedef struct packed {
        logic [31:0] pixels;
        logic [15:0] emit_blocks;
        logic [1:0] combine;
        logic [3:0] shift_a;
        logic [3:0] shift_b;
        logic [3:0] shift_y;
        logic subtract;
        logic broadcast;
        logic relu;
        logic look_up;
        logic new_table; // comes with the job
    } combine_t;

    typedef struct packed {
        bursts_t bursts;
        logic [31:0] out_base;
        logic [31:0] out_plane;
        logic [15:0] emit_blocks;
        logic [3:0] pixel_step; // words from one pixel to the next
        logic on_chip; // out_base counts words of the scratch memory
        logic first; // step of its layer
        logic last;
        logic [31:0] counters; // address of the layer's counters
    } store_t;

    typedef struct packed {
        logic first; // step of its layer
        logic last;
    } collect_t;

    // Head of an emitting block, for the processes behind the requantiser.
    typedef struct packed {
        logic [15:0] out_group;
        logic [3:0] groups;
    } emit_t;

    // A tap as the array takes it; `first` and `last` of its block.
    typedef struct packed {
        logic [15:0] base;
        logic [7:0] pattern;
        logic reuse;
        logic first;
        logic last;
    } tap_t;

    typedef struct packed {
        logic [31:0] iterations;
        logic [31:0] taps;
        logic [31:0] span;
    } accumulated_t;

    // What the processes counted in a layer, but for the store's own words.
    typedef struct packed {
        accumulated_t accumulated;
        logic [31:0] fetch_words;
        logic [31:0] weight_words;
        logic [31:0] residual_words;
    } totals_t;
endpackage
