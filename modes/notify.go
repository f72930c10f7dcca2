package modes

import (
	"github.com/rs/zerolog"

	"vft/alerting/amqp"
	"vft/modes/settings"
)

// newNotifier reads the --amqp options; nil when no broker is named. It opens
// nothing.
func newNotifier(v *settings.Settings, log zerolog.Logger) (*amqp.Notifier, error) {
	if v.Broker.URL == "" {
		return nil, nil
	}
	target, err := amqp.Parse(v.Broker.URL)
	if err != nil {
		return nil, v.Invalid(&v.Broker.URL, "%v", err)
	}
	for _, warning := range target.Warnings() {
		log.Warn().Msg(warning)
	}
	n := amqp.New(amqp.Config{
		Target: target, Exchange: v.Broker.Exchange, Queue: v.Broker.Queue, Log: log, Random: newRandom().Float64,
		OnDrop: func(dropped uint64) {
			log.Warn().Uint64("dropped", dropped).Msg("threats were dropped: the AMQP broker is away or full for too long")
		},
	})
	if err := n.Check(); err != nil {
		return nil, v.Invalid(&v.Broker.URL, "%v", err)
	}
	return n, nil
}
