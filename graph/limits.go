package graph

import "time"

// Limits of requests and records (D13). Sizes are bytes unless the name says otherwise.
const (
	MaxRequestBytes       = 4 << 20
	MaxReplyBytes         = 4 << 20
	MaxContentBytes       = 1_000_000
	MaxIDBytes            = 128
	MaxNameBytes          = 256
	MaxMetadataEntries    = 64
	MaxMetadataBytes      = 16 << 10
	MaxMetadataKeyBytes   = 256
	MaxCapabilities       = 64
	MaxToolsAvailable     = 1000
	MaxTemplateVariables  = 64
	MaxPatternBytes       = 1024
	MaxPatternProgram     = 2000    // instructions that a pattern compiles to
	MaxPatternWork        = 1 << 26 // bytes of values times instructions of their patterns, in one rendering
	MaxPatternClasses     = 64      // of \w \d \s and their negations in one pattern
	MaxDescriptionBytes   = 4096
	MaxBatchNodes         = 1000
	MaxBatchGet           = 1000
	MaxImportRecords      = 1000
	MaxExportSessions     = 10_000
	MaxQueryLimit         = 10_000
	DefaultQueryLimit     = 100
	MaxFilters            = 32
	MaxIdempotencyKey     = 128
	MaxInheritanceDepth   = 64
	MaxTemperature        = 100
	MaxEventTypesInFilter = 64
	// MaxScanRows bounds the rows that one call reads for filters without an index, and for counting (D14).
	MaxScanRows = 1_000_000
	// MaxRowsPerApply bounds what one command touches; larger deletions are swept (D6).
	MaxRowsPerApply = 10_000
	// SweepRows is how many rows one sweep removes at the most.
	SweepRows = 1000
)

// MaxAhead is how far a record's own timestamp may be ahead of the instant of its commit (D8).
const MaxAhead = 5 * time.Minute

// MinTime and MaxTime bound every timestamp, in Unix nanoseconds: the range of int64, 1677-09-21 to 2262-04-11.
const (
	MinTime = -1 << 63
	MaxTime = 1<<63 - 1
)
