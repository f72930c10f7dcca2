package modes

import (
	"github.com/rs/zerolog"

	"vft/alerting/amqp"
	"vft/modes/config"
)

// newNotifier reads the --amqp options; nil when no broker is named. It opens
// nothing.
func newNotifier(v *config.Values, log zerolog.Logger) (*amqp.Notifier, error) {
	if v.Text("amqp") == "" {
		return nil, nil
	}
	target, err := amqp.Parse(v.Text("amqp"))
	if err != nil {
		return nil, v.Invalid("amqp", "%v", err)
	}
	for _, warning := range target.Warnings() {
		log.Warn().Msg(warning)
	}
	n := amqp.New(amqp.Config{
		Target: target, Exchange: v.Text("amqp-exchange"), Queue: v.Text("amqp-queue"), Log: log, Random: newRandom().Float64,
		OnDrop: func(dropped uint64) {
			log.Warn().Uint64("dropped", dropped).Msg("threats were dropped: the AMQP broker is away or full for too long")
		},
	})
	if err := n.Check(); err != nil {
		return nil, v.Invalid("amqp", "%v", err)
	}
	return n, nil
}
