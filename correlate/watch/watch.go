// Package watch tells when traffic leaves what is usual for it: Stats watches the
// statistics of packets, Transfer the bytes that flows carry, Exfiltration what local
// hosts give away in a day or a week.
//
// # Stats
//
// Each statistic has a detector of its own. From a value it subtracts the reference,
// the mean of the newest Depth values (and, with Weekly, what is usual at that hour of
// the week), and gives the rest to SPOT with the shape of its tails kept within 0 and
// 0.8. Around that stand these guards:
//
//   - An abnormal value enters the reference cut down to its threshold, and the tails
//     not at all: the reference goes on learning, and a spike does not move it far.
//   - Among 64 values only five times the expected excesses teach the tails, and no
//     more than expected after an anomaly. While more come, values are also held
//     against the threshold of old, which follows the present one slowly, and no
//     excess is learned as larger than that: the first values of a flood do not hide
//     the rest of it.
//   - After 20 abnormal values in a row the detector learns anew: the end of the
//     episode says "new normal". If before it has learned enough 20 values in a row
//     are normal to what it knew before, it returns to that.
//   - Until a tail can judge, a robust judgement does: a value ten robust standard
//     deviations of the logarithm from the median, and twice as far from it as any.
//
// Anomalies no further apart than 12 intervals are one episode, which is told of
// when it begins and when it ends.
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
// had a packet in the interval. The interval of Transfer must be a whole number of
// those of the shard. At the end of a capture: Shard.Close, then Transfer.Flush and
// Stats.Flush. TransferConfig.Carried feeds Exfiltration and WeeklyTransfer.
//
// # WeeklyTransfer
//
// What each host sends each peer in an hour is held against the same hour of earlier
// weeks. Captured flows come through TransferConfig.Carried, and the end of each interval
// is told by Advance; exported flows come through Flow when they end.
//
// Nothing here starts a goroutine, opens anything or asks for the time. The same
// input and seed give the same events.
package watch
