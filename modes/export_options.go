package modes

import "vft/modes/config"

// exportOptions are about flows that exporters send, and where threats go.
var exportOptions = []config.Option{
	{Name: "netflow", Default: "off", Kind: config.Listeners(2055), Modes: config.Server | config.Standalone, Envs: []string{"COLLECTOR_LISTEN_PORT"},
		Usage: "collect NetFlow, IPFIX and sFlow on this UDP address, as :2055; several: separated by commas; with --pcapfile: the destination ports to decode"},
	{Name: "ipfix", Default: "off", Kind: config.Listeners(4739), Modes: config.Server | config.Standalone,
		Usage: "the same on another address; each protocol is understood on any of them"},
	{Name: "sflow", Default: "off", Kind: config.Listeners(6343), Modes: config.Server | config.Standalone,
		Usage: "the same on another address"},
	{Name: "exporters", Kind: config.Networks, Modes: config.Server | config.Standalone,
		Usage: "take datagrams from these addresses or networks only (default: from everybody)"},
	{Name: "exporter-sampling", Kind: config.Sampling, Modes: config.Server | config.Standalone,
		Usage: "EXPORTER=RATE: this exporter looks at one packet of RATE, whatever it says; repeatable"},
	{Name: "collector-workers", Default: "1", Kind: config.Int(0, 64), Modes: config.Server | config.Standalone,
		Usage: "sockets per address, each with a goroutine that receives and decodes; what they bring is judged one after the other; 0: one per core, at most 4"},
	{Name: "sensors", Kind: config.Text, Modes: config.All,
		Usage: "YAML file of sensors beside or in place of the built-in ones (docs/sensors.md; vft config show --sensors)"},
	{Name: "amqp", Kind: config.Text, Secret: true, Modes: config.Server | config.Standalone, Envs: []string{"AMQP_REPORTING_URI"},
		Usage: "send each threat to this RabbitMQ, as amqp://USER:PASSWORD@HOST:5672/VHOST or amqps://"},
	{Name: "amqp-exchange", Kind: config.Text, Modes: config.Server | config.Standalone,
		Usage: "exchange of --amqp (default: the one that hands to the queue)"},
	{Name: "amqp-queue", Default: "security-threat", Kind: config.Text, Modes: config.Server | config.Standalone, Envs: []string{"AMQP_REPORTING_QUEUE"},
		Usage: "durable queue, and routing key, of --amqp"},
}
