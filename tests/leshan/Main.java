import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

import org.eclipse.leshan.core.endpoint.Protocol;
import org.eclipse.leshan.core.model.LwM2mModel;
import org.eclipse.leshan.core.model.ObjectLoader;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.core.model.StaticModel;
import org.eclipse.leshan.server.LeshanServer;
import org.eclipse.leshan.server.LeshanServerBuilder;
import org.eclipse.leshan.server.model.StaticModelProvider;
import org.eclipse.leshan.servers.security.EditableSecurityStore;
import org.eclipse.leshan.servers.security.InMemorySecurityStore;
import org.eclipse.leshan.transport.californium.server.endpoint.CaliforniumServerEndpointsProvider;
import org.eclipse.leshan.transport.californium.server.endpoint.coap.CoapServerProtocolProvider;
import org.eclipse.leshan.transport.californium.server.endpoint.coaps.CoapsServerProtocolProvider;

import com.fasterxml.jackson.databind.JsonNode;

/**
 * A Leshan server that a test drives by lines of JSON: commands come in by the standard input, responses
 * and events go out by the standard output, and the end of the input ends it.
 */
public final class Main {

    private Main() {
    }

    /** The folder of models, the address to listen at, and the ports for CoAP and for CoAP over DTLS, or 0. */
    public static void main(String[] arguments) throws Exception {
        LwM2mModel model = new StaticModel(models(new File(arguments[0])));
        InetAddress address = InetAddress.getByName(arguments[1]);
        InetSocketAddress plain = new InetSocketAddress(address, Integer.parseInt(arguments[2]));
        InetSocketAddress secure = new InetSocketAddress(address, Integer.parseInt(arguments[3]));
        EditableSecurityStore keys = new InMemorySecurityStore();
        LeshanServer server = server(model, keys, plain, secure);
        Events events = new Events();
        server.getRegistrationService().addListener(events);
        server.getObservationService().addListener(events);
        server.start();
        Json.print("READY ", Json.object().put("coap", server.getEndpoint(Protocol.COAP).getURI().getPort())
                .put("coaps", server.getEndpoint(Protocol.COAPS).getURI().getPort()));

        serve(new Commands(server, keys, new Values(model)));
        server.destroy();
        System.exit(0);
    }

    private static List<ObjectModel> models(File folder) {
        List<ObjectModel> models = ObjectLoader.loadAllDefault();
        models.addAll(ObjectLoader.loadObjectsFromDir(folder, true));
        return models;
    }

    private static LeshanServer server(LwM2mModel model, EditableSecurityStore keys, InetSocketAddress plain,
            InetSocketAddress secure) {
        CaliforniumServerEndpointsProvider.Builder endpoints = new CaliforniumServerEndpointsProvider.Builder(
                new CoapServerProtocolProvider(), new CoapsServerProtocolProvider());
        endpoints.addEndpoint(plain, Protocol.COAP);
        endpoints.addEndpoint(secure, Protocol.COAPS);

        LeshanServerBuilder builder = new LeshanServerBuilder();
        builder.setSecurityStore(keys);
        builder.setObjectModelProvider(new StaticModelProvider(model));
        builder.setEndpointsProviders(endpoints.build());
        return builder.build();
    }

    /** Each command in a thread of its own: one that waits for a client holds up no other. */
    private static void serve(Commands commands) throws Exception {
        ExecutorService threads = Executors.newCachedThreadPool();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode command = Json.parse(line);
            threads.execute(() -> Json.print("", commands.carryOut(command)));
        }
        threads.shutdownNow();
    }
}
