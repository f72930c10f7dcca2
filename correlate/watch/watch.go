// Package watch tells when traffic leaves what is usual for it: Stats watches the
// statistics of packets, Transfer the bytes that flows carry, Exfiltration what local
// hosts give away in a day or a week.
//
// They say what they saw as findings and keep no life of it: what goes on is told again
// every ten seconds at most, and Finding.Memory says after how long it is over.
//
// # Stats
//
// Each statistic has a detector of its own. It judges the logarithm of what was counted
// over what was expected, with some doubt on both, so that a share of three packets does
// not weigh as much as one of thousands (see normalizer); a value whose parts are not
// known stands for itself. From that it subtracts the reference, the mean of the newest
// Depth values (and, with Weekly, what is usual at that hour of the week), and gives the
// rest to SPOT with the shape of its tails kept within bounds. Around that stand these
// guards:
//
//   - An abnormal value enters the reference cut down to its threshold, and the tails
//     not at all: the reference goes on learning, and a spike does not move it far. On a
//     side that is not watched no value enters it farther away than that either.
//   - Among 64 values only five times the expected excesses teach the tails, and no
//     more than expected after an anomaly. While more come, usual values are not counted
//     either, values are also held against the threshold of old, which follows the
//     present one slowly, and no excess is learned as larger than that: the first values
//     of a flood do not hide the rest of it.
//   - A value beyond the threshold is not abnormal when it is less than twice the usual
//     or within what chance makes of so few things; when it is usual as seen from many
//     more values than the reference has; when it was so at that hour of the day or week
//     before; and when such values begin to come for the fourth time within an hour, or
//     three were told of within a day. The last teach the tails, once in five minutes.
//   - Three of five values must be abnormal before anything is told. When as many of 20
//     are, the detector learns anew: it is the new normal. If before it has learned
//     enough 20 values in a row are normal to what it knew before, it returns to that.
//   - Until a tail can judge, a robust judgement does: a value ten robust standard
//     deviations of the logarithm from the median, and twice as far from it as any.
//   - What any transfer moves is told only beside something else, of two that say the
//     same one.
//
// # Transfer
//
// Each direction of a flow is a series of payload bytes per interval, judged by the
// anomalyzer. It is fed like this, on the goroutine that owns the flow table:
//
//	flow.Config.Emit:          transfer.Flow(record)        // each flow that ended
//	ShardConfig.Interval:      shard.Flows().Fresh(since, transfer.Flow)
//	                           transfer.Advance(interval.End)
//
// Shard calls Interval before it marks the flow table, so Fresh gives every flow that
// had a packet in the interval. At the end of a capture: Shard.Close, then Transfer.Flush
// and Stats.Flush. TransferConfig.Carried feeds Exfiltration and WeeklyTransfer.
//
// # WeeklyTransfer
//
// What each host sends each peer in an hour is held against the same hour of earlier
// weeks. Captured flows come through TransferConfig.Carried, and the end of each interval
// is told by Advance; exported flows come through Flow when they end.
//
// Nothing here starts a goroutine, opens anything or asks for the time. The same
// input and seed give the same findings.
package watch
