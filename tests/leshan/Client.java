import java.io.File;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

import org.eclipse.leshan.client.LeshanClient;
import org.eclipse.leshan.client.LeshanClientBuilder;
import org.eclipse.leshan.client.object.Device;
import org.eclipse.leshan.client.object.Security;
import org.eclipse.leshan.client.object.Server;
import org.eclipse.leshan.client.resource.BaseInstanceEnabler;
import org.eclipse.leshan.client.resource.ObjectsInitializer;
import org.eclipse.leshan.client.servers.LwM2mServer;
import org.eclipse.leshan.core.LwM2mId;
import org.eclipse.leshan.core.model.ObjectLoader;
import org.eclipse.leshan.core.model.ObjectModel;
import org.eclipse.leshan.core.model.StaticModel;
import org.eclipse.leshan.core.node.LwM2mResource;
import org.eclipse.leshan.core.request.argument.Arguments;
import org.eclipse.leshan.core.response.ExecuteResponse;
import org.eclipse.leshan.core.response.ReadResponse;
import org.eclipse.leshan.core.response.WriteResponse;
import org.eclipse.leshan.transport.californium.client.endpoint.CaliforniumClientEndpointsProvider;
import org.eclipse.leshan.transport.californium.client.endpoint.coap.CoapClientProtocolProvider;

/**
 * A client on Leshan's library, which proves the servers of the tests before wharfd is asked. Its Object 9
 * only repeats in Status Reason what was done to it.
 */
public final class Client {

    private static final int SHORT_SERVER_ID = 1;
    private static final int LIFETIME = 300;

    private Client() {
    }

    public static void main(String[] arguments) throws Exception {
        String uri = arguments[0];
        String endpoint = arguments[1];
        List<ObjectModel> models = ObjectLoader.loadAllDefault();
        models.addAll(ObjectLoader.loadObjectsFromDir(new File(arguments[2]), true));

        ObjectsInitializer objects = new ObjectsInitializer(new StaticModel(models));
        objects.setInstancesForObject(LwM2mId.SECURITY, Security.noSec(uri, SHORT_SERVER_ID));
        objects.setInstancesForObject(LwM2mId.SERVER, new Server(SHORT_SERVER_ID, LIFETIME));
        objects.setInstancesForObject(LwM2mId.DEVICE, new Device("Eclipse Leshan", "client", "1"));
        objects.setInstancesForObject(9, new Told());
        objects.setClassForObject(9, Told.class);

        LeshanClientBuilder builder = new LeshanClientBuilder(endpoint);
        builder.setObjects(objects.createAll());
        builder.setEndpointsProviders(
                new CaliforniumClientEndpointsProvider.Builder(new CoapClientProtocolProvider()).build());
        LeshanClient client = builder.build();
        client.start();
        while (System.in.read() != -1) {
            // The end of the input is all that is waited for.
        }
        client.destroy(true);
        System.exit(0);
    }

    /** An instance of Object 9. */
    public static final class Told extends BaseInstanceEnabler {

        private static final int UPDATE_STATE = 7;
        private static final int STATUS_REASON = 16;

        private String told = "";

        @Override
        public WriteResponse write(LwM2mServer server, boolean replace, int id, LwM2mResource value) {
            Object written = value.getValue();
            tell("write " + id + " " + (written instanceof byte[] ? ((byte[]) written).length : written));
            return WriteResponse.success();
        }

        @Override
        public ExecuteResponse execute(LwM2mServer server, int id, Arguments arguments) {
            tell("execute " + id + " " + Objects.toString(arguments.serialize(), ""));
            return ExecuteResponse.success();
        }

        @Override
        public ReadResponse read(LwM2mServer server, int id) {
            switch (id) {
            case UPDATE_STATE:
                return ReadResponse.success(id, 0);
            case STATUS_REASON:
                return ReadResponse.success(id, told);
            default:
                return ReadResponse.notFound();
            }
        }

        @Override
        public List<Integer> getAvailableResourceIds(ObjectModel model) {
            return Arrays.asList(UPDATE_STATE, STATUS_REASON);
        }

        private void tell(String what) {
            told = what;
            fireResourceChange(STATUS_REASON);
        }
    }
}
